# Decides whether the programs get the TensorRT engine's shim: it is C++, and needs TensorRT's headers.
# Sets _tensorrt_features for cargo and _tensorrt_env for its environment.

set(HYMT_TENSORRT "auto" CACHE STRING
  "The engine tensorrt: auto (if TensorRT's headers are found), on (they must be) or off")
set_property(CACHE HYMT_TENSORRT PROPERTY STRINGS auto on off)

# Where crates/tensorrt/build.rs looks; tests/package.rs holds the two lists together.
set(HYMT_TENSORRT_FOLDERS
  /usr/include/aarch64-linux-gnu
  /usr/include/x86_64-linux-gnu
  /usr/include
  /usr/local/include
  /usr/local/tensorrt/include
  /opt/tensorrt/include)

set(_tensorrt_features "")
set(_tensorrt_env "")
if(HYMT_TENSORRT STREQUAL "auto" OR HYMT_TENSORRT STREQUAL "on")
  find_path(HYMT_TENSORRT_INCLUDE NvInfer.h
    PATHS ENV HYMT_TENSORRT_INCLUDE ${HYMT_TENSORRT_FOLDERS} NO_DEFAULT_PATH
    DOC "Folder of NvInfer.h and NvOnnxParser.h")
  set(_missing "")
  if(NOT HYMT_TENSORRT_INCLUDE)
    set(_missing "NvInfer.h was not found")
  elseif(NOT EXISTS "${HYMT_TENSORRT_INCLUDE}/NvOnnxParser.h")
    set(_missing "${HYMT_TENSORRT_INCLUDE} has no NvOnnxParser.h")
  else()
    # From 10.13 on the numbers stand in TRT_MAJOR_ENTERPRISE.
    file(STRINGS "${HYMT_TENSORRT_INCLUDE}/NvInferVersion.h" _version
      REGEX "define (NV_TENSORRT|TRT)_(MAJOR|MINOR)(_ENTERPRISE)? +[0-9]+")
    string(REGEX REPLACE "[^;]*_(MAJOR|MINOR)(_ENTERPRISE)? +([0-9]+)[^;]*" "\\3" _version "${_version}")
    string(REPLACE ";" "." _version "${_version}")
    if(_version VERSION_LESS 8.5)
      set(_missing "${HYMT_TENSORRT_INCLUDE} is of TensorRT ${_version} and 8.5 is the oldest that fits")
    endif()
  endif()
  if(NOT _missing)
    set(_tensorrt_features ",tensorrt-shim")
    set(_tensorrt_env "HYMT_TENSORRT_INCLUDE=${HYMT_TENSORRT_INCLUDE}")
    message(STATUS "TensorRT: headers of ${_version} in ${HYMT_TENSORRT_INCLUDE}")
  else()
    set(_how "${_missing}, so the programs get no engine tensorrt. On a Jetson: "
      "sudo apt install libnvinfer-dev libnvonnxparsers-dev, then build again. Elsewhere: "
      "colcon build --cmake-args -DHYMT_TENSORRT_INCLUDE=/path/to/include")
    string(CONCAT _how ${_how})
    if(HYMT_TENSORRT STREQUAL "on")
      message(FATAL_ERROR "${_how}")
    endif()
    message(STATUS "TensorRT: ${_how}")
    # It is looked for again next time: headers may have been installed.
    unset(HYMT_TENSORRT_INCLUDE CACHE)
  endif()
elseif(NOT HYMT_TENSORRT STREQUAL "off")
  message(FATAL_ERROR "HYMT_TENSORRT is '${HYMT_TENSORRT}'; it must be auto, on or off")
endif()
