//! Any command line is read or refused; whatever is read resolves names or refuses them.
#![no_main]

use hymt_ros::ros::args::RosArgs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // One argument a line; the first section marker is given, or little would be reached.
    let arguments: Vec<String> =
        std::iter::once("--ros-args").chain(text.lines()).map(str::to_owned).collect();
    let Ok((args, _)) = RosArgs::parse(&arguments) else { return };
    if let Ok(names) = args.resolver("translator", "/") {
        for name in ["text", "~/translation", "/absolute"] {
            let _ = names.topic(name);
        }
    }
});
