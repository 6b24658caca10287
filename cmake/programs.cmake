# Builds hymt_node and hymt with cargo, and says in plain words what is missing for it.

# What the build script of the feature r2r accepts; tests/package.rs holds the two lists together.
set(HYMT_R2R_DISTROS foxy galactic humble iron jazzy lyrical rolling)

if(HYMT_MIDDLEWARE STREQUAL "r2r")
  set(_features "r2r")
elseif(HYMT_MIDDLEWARE STREQUAL "dds")
  set(_features "dds")
elseif(HYMT_MIDDLEWARE STREQUAL "both")
  set(_features "dds,r2r")
else()
  message(FATAL_ERROR
    "HYMT_MIDDLEWARE is '${HYMT_MIDDLEWARE}'; it must be r2r, dds or both")
endif()

if(NOT HYMT_MIDDLEWARE STREQUAL "dds" AND NOT "$ENV{ROS_DISTRO}" IN_LIST HYMT_R2R_DISTROS)
  string(REPLACE ";" ", " _known "${HYMT_R2R_DISTROS}")
  message(FATAL_ERROR
    "HYMT_MIDDLEWARE=${HYMT_MIDDLEWARE} does not know ROS 2 '$ENV{ROS_DISTRO}' (ROS_DISTRO); "
    "it knows ${_known}. Choose the node that needs no ROS to be built and talks to "
    "rmw_cyclonedds and rmw_fastrtps: colcon build --cmake-args -DHYMT_MIDDLEWARE=dds")
endif()

if(HYMT_CARGO_FEATURES)
  string(APPEND _features ",${HYMT_CARGO_FEATURES}")
endif()
include(cmake/tensorrt.cmake)
string(APPEND _features "${_tensorrt_features}")

find_program(HYMT_CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.toml" _rust_version REGEX "^rust-version = \"")
string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" _rust_version "${_rust_version}")
if(NOT HYMT_CARGO)
  message(FATAL_ERROR
    "cargo was not found; the programs are written in Rust. Install Rust ${_rust_version} or "
    "newer with rustup, or name it: colcon build --cmake-args -DHYMT_CARGO=/path/to/cargo")
endif()
execute_process(COMMAND "${HYMT_CARGO}" --version
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  OUTPUT_VARIABLE _cargo_version ERROR_VARIABLE _cargo_error RESULT_VARIABLE _cargo_status)
if(NOT _cargo_status EQUAL 0 OR NOT _cargo_version MATCHES "^cargo ([0-9]+\\.[0-9]+\\.[0-9]+)")
  message(FATAL_ERROR "'${HYMT_CARGO} --version' failed: ${_cargo_version}${_cargo_error}")
endif()
if(CMAKE_MATCH_1 VERSION_LESS _rust_version)
  message(FATAL_ERROR
    "${HYMT_CARGO} is ${CMAKE_MATCH_1}; Rust ${_rust_version} or newer is needed. Update it "
    "(rustup update), or name another: colcon build --cmake-args -DHYMT_CARGO=/path/to/cargo")
endif()

# --locked: what was tested is what is built. CARGO_NET_OFFLINE and the rest of cargo's environment
# reach it as they are.
set(HYMT_CARGO_ARGS --locked --profile "${HYMT_CARGO_PROFILE}" --package hymt_ros
  --no-default-features --features "${_features}" --target-dir "${HYMT_CARGO_TARGET_DIR}")
set(_programs "${HYMT_CARGO_TARGET_DIR}/${HYMT_CARGO_PROFILE}")
if(HYMT_CARGO_PROFILE STREQUAL "dev")
  set(_programs "${HYMT_CARGO_TARGET_DIR}/debug")
endif()

# cargo itself knows what is stale, so it is always asked.
add_custom_target(hymt_programs ALL
  COMMAND "${CMAKE_COMMAND}" -E env ${_tensorrt_env}
    "${HYMT_CARGO}" build ${HYMT_CARGO_ARGS} --bin hymt --bin hymt_node
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  COMMENT "cargo build: hymt and hymt_node (${_features})"
  USES_TERMINAL
  VERBATIM)
message(STATUS "programs: cargo ${CMAKE_MATCH_1}, features ${_features}")

install(PROGRAMS "${_programs}/hymt_node" "${_programs}/hymt" DESTINATION lib/${PROJECT_NAME})
