//! The switches of the FAKE TensorRT (`tests/fake/*.cpp`), from Rust.
//!
//! Included by the tests that use it. The fake's switches are global, so tests take turns.

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hymt_tensorrt::safe::{Libraries, Parser};

/// Path of `libfake_nvinfer.so`; `tests/fake/build.sh` makes it.
pub(crate) const ENV_FAKE: &str = "HYMT_FAKE_TENSORRT";

static TURN: Mutex<()> = Mutex::new(());

/// The opened fake with all switches at rest; this thread's until it is dropped.
pub(crate) struct Fake {
    library: libloading::Library,
    path: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Fake {
    /// `None`, said aloud, where there is no fake; a failure where one is required.
    pub(crate) fn take() -> Option<Self> {
        let Some(path) = std::env::var_os(ENV_FAKE).map(PathBuf::from) else {
            let how = format!("{ENV_FAKE} is not set; tests/fake/build.sh builds the fake");
            assert!(std::env::var_os("HYMT_REQUIRE_PEERS").is_none(), "{how}");
            eprintln!("SKIPPED: {how}");
            return None;
        };
        if !cfg!(feature = "shim") {
            eprintln!("SKIPPED: built without the feature shim");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: our own library; loading it reads an environment variable.
        let library = unsafe { libloading::Library::new(&path) }.unwrap();
        let fake = Self { library, path, _turn: turn };
        fake.reset();
        Some(fake)
    }

    /// What [`hymt_tensorrt::safe::Library::open`] wants: the fake is all three libraries in one.
    pub(crate) fn libraries(&self) -> Libraries {
        let path = self.path.clone();
        Libraries {
            nvinfer: Some(path.clone()),
            parser: Parser::At(path.clone()),
            cuda: Some(path),
        }
    }

    /// Sets a switch; `control.cpp` lists them.
    pub(crate) fn set(&self, key: &str, value: &str) {
        let (key, value) = (CString::new(key).unwrap(), CString::new(value).unwrap());
        type Set = unsafe extern "C" fn(*const i8, *const i8);
        // SAFETY: the function copies both strings.
        unsafe {
            let set = self.library.get::<Set>(b"hymt_fake_set").unwrap();
            set(key.as_ptr().cast(), value.as_ptr().cast());
        }
    }

    /// Has TensorRT log an error that belongs to no object, to the first logger that it was given.
    pub(crate) fn log_late(&self, text: &str) {
        let text = CString::new(text).unwrap();
        // SAFETY: the text lives during the call; that the logger does is what is tested.
        unsafe {
            let name = b"hymt_fake_log_late";
            self.library.get::<unsafe extern "C" fn(*const i8)>(name).unwrap()(
                text.as_ptr().cast(),
            );
        }
    }

    fn reset(&self) {
        self.call::<()>("hymt_fake_reset");
    }

    /// The fake's cudaStreamBeginCapture: runs are kept instead of done.
    pub(crate) fn begin_capture(&self) {
        self.call::<()>("hymt_fake_begin_capture");
    }

    /// Ends the capture; the number is the graph's.
    pub(crate) fn end_capture(&self) -> i64 {
        self.call("hymt_fake_end_capture")
    }

    /// Does what was captured; whether all went well.
    pub(crate) fn launch(&self, graph: i64) -> bool {
        // SAFETY: the function takes a number and checks it; the contexts of the graph are alive.
        unsafe {
            let name = b"hymt_fake_launch";
            let launch = self.library.get::<unsafe extern "C" fn(i64) -> i32>(name).unwrap();
            launch(graph) == 1
        }
    }

    fn call<T>(&self, name: &str) -> T {
        // SAFETY: called with the type of each name, above; none takes an argument.
        unsafe { self.library.get::<unsafe extern "C" fn() -> T>(name.as_bytes()).unwrap()() }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.reset();
    }
}
