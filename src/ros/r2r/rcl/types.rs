//! Compiled interfaces, found by the name of a type.
//!
//! As `rosbag2` and `rclpy` do: `lib<package>__rosidl_typesupport_c.so` holds the type support of
//! every message and service of a package under a name that follows from the type's, and
//! `lib<package>__rosidl_generator_c.so` makes and ends the C structs. So nothing about a package
//! has to be known when this program is built, and packages that only some robots have
//! (`hri_msgs`) are looked for when they are needed.
//!
//! Unsafe, because symbols of a library have no types.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use libloading::Library;
use r2r_rcl as sys;

use super::RclError;

type Handle<T> = unsafe extern "C" fn() -> *const T;

/// How the middleware reads and writes a message type.
#[derive(Clone, Copy)]
pub(crate) struct MessageSupport {
    pub(super) ptr: *const sys::rosidl_message_type_support_t,
}

/// A message type with its C struct.
#[derive(Clone, Copy)]
pub(crate) struct MessageType {
    pub(super) support: MessageSupport,
    /// Gives a struct with default values, or null when memory is out.
    pub(super) create: unsafe extern "C" fn() -> *mut c_void,
    /// Ends what `create` gave.
    pub(super) destroy: unsafe extern "C" fn(*mut c_void),
}

/// A service type with its two halves.
#[derive(Clone, Copy)]
pub(crate) struct ServiceType {
    pub(super) ptr: *const sys::rosidl_service_type_support_t,
    pub(super) request: MessageType,
    pub(super) response: MessageType,
}

// SAFETY: the pointers lead to constant data and functions in libraries that are never unloaded.
unsafe impl Send for MessageSupport {}
// SAFETY: as for `Send`.
unsafe impl Sync for MessageSupport {}
// SAFETY: as for `MessageSupport`.
unsafe impl Send for ServiceType {}
// SAFETY: as for `MessageSupport`.
unsafe impl Sync for ServiceType {}

impl MessageSupport {
    /// The type support of `package/msg/Name`.
    pub(crate) fn find(ros_type: &str) -> Result<Self, RclError> {
        let library = library(ros_type, "rosidl_typesupport_c")?;
        let symbol =
            format!("rosidl_typesupport_c__get_message_type_support_handle__{}", mangled(ros_type));
        // SAFETY: rosidl declares every symbol of this name as a function without arguments that
        // returns a constant `rosidl_message_type_support_t`.
        let ptr = unsafe {
            symbol_of::<Handle<sys::rosidl_message_type_support_t>>(library, ros_type, &symbol)?()
        };
        if ptr.is_null() { Err(no_support(ros_type)) } else { Ok(Self { ptr }) }
    }
}

impl MessageType {
    /// The type of `package/msg/Name`, or of one half of a service.
    pub(super) fn find(ros_type: &str) -> Result<Self, RclError> {
        let library = library(ros_type, "rosidl_generator_c")?;
        let name = mangled(ros_type);
        let support = MessageSupport::find(ros_type)?;
        // SAFETY: rosidl declares `<type>__create` and `<type>__destroy` with these arguments, up
        // to the type of the pointer.
        let (create, destroy) = unsafe {
            (
                symbol_of(library, ros_type, &format!("{name}__create"))?,
                symbol_of(library, ros_type, &format!("{name}__destroy"))?,
            )
        };
        Ok(Self { support, create, destroy })
    }
}

impl ServiceType {
    /// The type support of `package/srv/Name`, or of `package/action/Name_SendGoal` and the like.
    pub(crate) fn find(ros_type: &str) -> Result<Self, RclError> {
        let library = library(ros_type, "rosidl_typesupport_c")?;
        let symbol =
            format!("rosidl_typesupport_c__get_service_type_support_handle__{}", mangled(ros_type));
        // SAFETY: as for messages, with `rosidl_service_type_support_t`.
        let ptr = unsafe {
            symbol_of::<Handle<sys::rosidl_service_type_support_t>>(library, ros_type, &symbol)?()
        };
        if ptr.is_null() {
            return Err(no_support(ros_type));
        }
        let request = MessageType::find(&format!("{ros_type}_Request"))?;
        let response = MessageType::find(&format!("{ros_type}_Response"))?;
        Ok(Self { ptr, request, response })
    }
}

fn no_support(ros_type: &str) -> RclError {
    let reason = "its library has no type support".to_owned();
    RclError::Interface { ros_type: ros_type.to_owned(), reason }
}

/// `package/msg/Name` as C spells it.
fn mangled(ros_type: &str) -> String {
    ros_type.replace('/', "__")
}

/// # Safety
/// `T` is the type of the function that has this name.
unsafe fn symbol_of<T: Copy>(
    library: &Library,
    ros_type: &str,
    symbol: &str,
) -> Result<T, RclError> {
    // SAFETY: the caller's promise; the library is never unloaded.
    unsafe { library.get::<T>(symbol.as_bytes()) }.map(|found| *found).map_err(|error| {
        RclError::Interface { ros_type: ros_type.to_owned(), reason: error.to_string() }
    })
}

/// `lib<package>__<kind>.so`, opened once and never closed: type supports are handed to ROS, which
/// keeps them.
fn library(ros_type: &str, kind: &str) -> Result<&'static Library, RclError> {
    static OPEN: Mutex<Option<HashMap<String, &'static Library>>> = Mutex::new(None);

    let package = ros_type.split('/').next().unwrap_or_default();
    let file = format!(
        "{}{package}__{kind}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let open = open.get_or_insert_default();
    if let Some(library) = open.get(&file) {
        return Ok(library);
    }
    let path = in_prefixes(&file).unwrap_or_else(|| PathBuf::from(&file));
    // SAFETY: opening runs the initialisers of a library of the ROS installation that the user has
    // sourced, the same that every other node of it runs.
    let library = unsafe { Library::new(&path) }.map_err(|error| RclError::Interface {
        ros_type: ros_type.to_owned(),
        reason: error.to_string(),
    })?;
    let library: &'static Library = Box::leak(Box::new(library));
    open.insert(file, library);
    Ok(library)
}

/// The file in the first sourced prefix that has it; overlays come first. Otherwise the loader
/// searches, which also knows `LD_LIBRARY_PATH`.
fn in_prefixes(file: &str) -> Option<PathBuf> {
    let prefixes = std::env::var_os("AMENT_PREFIX_PATH")?;
    std::env::split_paths(&prefixes)
        .map(|prefix| prefix.join("lib").join(file))
        .find(|path| path.is_file())
}
