//! Any command line is read or refused; whatever is read resolves names or refuses them.
#![no_main]

use hymt_ros::ros::args::RosArgs;
use hymt_ros::ros::names::NameResolver;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // One argument a line; the first section marker is given, or little would be reached.
    let arguments: Vec<String> =
        std::iter::once("--ros-args").chain(text.lines()).map(str::to_owned).collect();
    let Ok((args, rest)) = RosArgs::parse(&arguments) else { return };
    assert!(rest.len() < arguments.len());
    assert!(!rest.iter().any(|argument| argument == "--ros-args"));
    let Ok(names) = args.resolver("translator", "/") else { return };
    let plain = NameResolver::new("translator", "/", &[]).expect("both are valid");
    for name in ["text", "~/translation", "{node}/x"].into_iter().chain(text.lines()) {
        for resolved in [names.topic(name), names.service(name)].into_iter().flatten() {
            // A resolved name is absolute and stays what it is.
            assert_eq!(plain.topic(&resolved), Ok(resolved));
        }
    }
});
