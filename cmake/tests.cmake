# `colcon test`: the launch files and the installed node in a graph of their own, and the cargo
# tests of the ROS side. Everything else is tested by `cargo test` and needs no ROS.
find_package(ament_cmake_pytest REQUIRED)
find_package(ament_cmake_ros REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# A domain of its own for each test, so that two that run at once do not hear each other.
set(_isolated "${ament_cmake_ros_DIR}/run_test_isolated.py")

# The tests need no plugin of pytest, and some of ROS fail to load in a pytest newer than they know.
set(_plain_pytest "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1")
ament_add_pytest_test(launch_arguments tests/launch/test_arguments.py TIMEOUT 60
  ENV "${_plain_pytest}")
ament_add_pytest_test(launch_files tests/launch/test_launch_files.py TIMEOUT 300
  RUNNER "${_isolated}"
  ENV "${_plain_pytest}" "HYMT_SOURCE_DIR=${CMAKE_CURRENT_SOURCE_DIR}")

# Nav2 calls add_launch_test; this is what it does, without one more package to install.
foreach(_name translator conversation)
  set(_result "${AMENT_TEST_RESULTS_DIR}/${PROJECT_NAME}/launch_${_name}.xunit.xml")
  ament_add_test(launch_${_name}
    RUNNER "${_isolated}"
    COMMAND "${Python3_EXECUTABLE}" -m launch_testing.launch_test
      "${CMAKE_CURRENT_SOURCE_DIR}/tests/launch/${_name}.test.py"
      "--junit-xml=${_result}" "--package-name=${PROJECT_NAME}"
    RESULT_FILE "${_result}"
    OUTPUT_FILE "${CMAKE_CURRENT_BINARY_DIR}/launch_test/${_name}.txt"
    TIMEOUT 180)
endforeach()

set(_cargo_tests contract parameters config_files package)
if(NOT HYMT_MIDDLEWARE STREQUAL "r2r")
  list(APPEND _cargo_tests dds_loopback)
endif()
if(NOT HYMT_MIDDLEWARE STREQUAL "dds")
  list(APPEND _cargo_tests r2r_loopback)
endif()
if(HYMT_MIDDLEWARE STREQUAL "both")
  list(APPEND _cargo_tests mixed_graph)
endif()
list(TRANSFORM _cargo_tests PREPEND "--test;" OUTPUT_VARIABLE _cargo_tests)
ament_add_test(cargo_tests
  RUNNER "${_isolated}"
  COMMAND "${CMAKE_COMMAND}" -E env ${_tensorrt_env}
    "${HYMT_CARGO}" test ${HYMT_CARGO_ARGS} ${_cargo_tests}
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  GENERATE_RESULT_FOR_RETURN_CODE_ZERO
  TIMEOUT 1800)

find_program(HYMT_XMLLINT xmllint)
if(HYMT_XMLLINT)
  # --nonet: ament_xmllint fetches the schema; a robot may be offline.
  ament_add_test(xmllint
    COMMAND "${HYMT_XMLLINT}" --noout --nonet package.xml launch/translator.launch.xml
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    GENERATE_RESULT_FOR_RETURN_CODE_ZERO
    TIMEOUT 30)
else()
  message(WARNING "xmllint was not found: package.xml is not linted (install libxml2-utils)")
endif()
