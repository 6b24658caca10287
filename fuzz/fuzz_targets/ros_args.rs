//! A command line, one argument a line, and the names that its remap rules make.
#![no_main]

use hymt_ros::ros::args::RosArgs;
use hymt_ros::ros::names::NameResolver;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let arguments: Vec<String> = input.split('\n').map(str::to_owned).collect();
    let Ok((args, rest)) = RosArgs::parse(&arguments) else { return };
    assert!(rest.len() <= arguments.len());
    assert!(!rest.iter().any(|argument| argument == "--ros-args"));
    let Ok(names) = args.resolver("translator", "/") else { return };
    for name in ["text", "~/translation", "{node}/x"].into_iter().chain(input.lines()) {
        for resolved in [names.topic(name), names.service(name)].into_iter().flatten() {
            // A resolved name is absolute and stays what it is.
            let plain = NameResolver::new("translator", "/", &[]).expect("both are valid");
            assert_eq!(plain.topic(&resolved), Ok(resolved));
        }
    }
});
