//! `--ros-args`: remaps, parameters, parameter files, log levels.
