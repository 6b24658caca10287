//! What kind of machine this is, read from its files: is it a Jetson, and is it ready?
//!
//! Pure but for [`System`], which reads below a root folder with bounds, so that everything here
//! runs as well on the files of a board that is somewhere else (`hymt doctor --root`, and the trees
//! of `tests/board`). Nothing is loaded and no program is run; what only a loaded library can tell
//! comes in through [`Wants`].
//!
//! | what | read from |
//! |---|---|
//! | board and module | `/proc/device-tree/model`, `compatible` |
//! | JetPack | `/etc/nv_tegra_release`, `/var/lib/dpkg/status` |
//! | TensorRT, driver, NVRTC | names of files where JetPack puts them |
//! | DLA cores | nodes of the device tree, and the table of modules |
//! | memory | `/proc/meminfo`, `/proc/swaps` |
//! | power mode | `/etc/nvpmodel.conf`, `/var/lib/nvpmodel/status` |
//! | temperature | `/sys/class/thermal` |
//!
//! The facts behind the tables are from NVIDIA's pages and from what owners of boards have published
//! (docs/jetson.md names them); nobody has run this on a board yet.

mod checks;
mod finding;
mod jetpack;
mod libraries;
mod memory;
mod module;
mod plan;
mod power;
mod system;
mod thermal;

pub use self::checks::{Wants, findings};
pub use self::finding::{Finding, State};
pub use self::jetpack::{JetPack, L4t};
pub use self::libraries::{Libraries, Library, Version};
pub use self::memory::Memory;
pub(crate) use self::memory::figure;
pub use self::module::{Board, Generation, Module};
pub use self::plan::PlanState;
pub use self::power::{Mode, Power};
pub use self::system::{ENTRIES_MAX, FILE_BYTES_MAX, System, Unread};
pub use self::thermal::Zone;

/// Everything that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Which board; on anything but a Jetson what the device tree calls it, if there is one.
    pub board: Board,
    /// The system software of a Jetson.
    pub jetpack: JetPack,
    /// NVIDIA's libraries.
    pub libraries: Libraries,
    /// DLA nodes of the device tree that are not disabled.
    pub dla_nodes: usize,
    /// Memory and swap.
    pub memory: Memory,
    /// Power mode.
    pub power: Power,
    /// Temperatures that can be read.
    pub zones: Vec<Zone>,
    /// Whether this looks like the inside of a container, where files of the board may be missing.
    pub is_container: bool,
}

impl Machine {
    /// Reads all of it.
    pub fn examine(system: &System) -> Self {
        Self {
            board: Board::examine(system),
            jetpack: JetPack::examine(system),
            libraries: Libraries::examine(system),
            dla_nodes: module::dla_nodes(system),
            memory: Memory::examine(system),
            power: Power::examine(system),
            zones: thermal::examine(system),
            is_container: system.has_file("/.dockerenv") || system.has_file("/run/.containerenv"),
        }
    }

    /// Whether this is a Jetson, of a module that we know or not.
    pub fn is_jetson(&self) -> bool {
        self.board.generation.is_some()
    }
}
