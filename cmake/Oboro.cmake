# Compiler settings, and one helper per kind of target.
include(${CMAKE_CURRENT_LIST_DIR}/Hardening.cmake)
add_library(oboro_flags INTERFACE)
target_compile_options(oboro_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Wimplicit-fallthrough -fno-strict-aliasing -fvisibility=hidden)
oboro_harden(oboro_flags)
target_compile_definitions(oboro_flags INTERFACE FMT_HEADER_ONLY=1)
target_include_directories(oboro_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Taken for a header's: what a source file keeps to itself.
  target_compile_options(oboro_flags INTERFACE -Wno-subobject-linkage)
endif()
if(OBORO_SANITIZE)
  target_compile_options(oboro_flags INTERFACE -fsanitize=${OBORO_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(oboro_flags INTERFACE -fsanitize=${OBORO_SANITIZE})
  target_compile_definitions(oboro_flags INTERFACE OBORO_SANITIZED)  # no compiler-independent macro says so
endif()
if(OBORO_FUZZ)
  target_compile_options(oboro_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# oboro_library(name SOURCES... [DEPS libs...]): a static library of one folder.
function(oboro_library name)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  add_library(${name} STATIC ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC oboro_flags ${A_DEPS})
endfunction()

add_custom_target(unit-tests)
add_custom_target(programs)  # what a user runs, without the tests

# oboro_program(name SOURCES... [STATIC] [DEPS libs...]): a program that users get. STATIC: no library is there where it runs.
function(oboro_program name)
  cmake_parse_arguments(A "STATIC" "" "DEPS" ${ARGN})
  add_executable(${name} ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE oboro_flags ${A_DEPS})
  set(kind program)
  if(A_STATIC AND NOT OBORO_SANITIZE AND NOT OBORO_FUZZ)  # which nobody can link statically
    target_link_options(${name} PRIVATE -static-pie -Wl,--strip-debug)
    set(kind static)
  else()
    target_link_options(${name} PRIVATE -pie)
  endif()
  oboro_ship(${name} ${kind} bin)
endfunction()

# oboro_plugin(name SOURCES... [DEPS libs...]): a shared object that users get, for a process that is not ours: static C++
# runtime, so that it does not depend on which one that process brings.
function(oboro_plugin name)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  add_library(${name} MODULE ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE oboro_flags ${A_DEPS})
  target_link_options(${name} PRIVATE -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL)
  set_target_properties(${name} PROPERTIES PREFIX "")
  oboro_ship(${name} plugin lib)
endfunction()

# What users get is listed in shipped.txt in the build folder, for the tests and tools that look at all of it.
function(oboro_ship name kind folder)
  add_dependencies(programs ${name})
  set_property(GLOBAL APPEND PROPERTY OBORO_SHIPPED ${name})
  # What the linker read: for tools/sbom.
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/links)
  target_link_options(${name} PRIVATE -Wl,--dependency-file=${CMAKE_BINARY_DIR}/links/$<TARGET_FILE_NAME:${name}>.d)
  set_property(GLOBAL APPEND_STRING PROPERTY OBORO_SHIPPED_LINES "${kind} ${folder}/$<TARGET_FILE_NAME:${name}>\n")
endfunction()

# oboro_finish_shipped(): after all targets: writes that list. A target that would be built where users find
# programs, and is not one of them, is an error.
function(oboro_finish_shipped)
  get_property(lines GLOBAL PROPERTY OBORO_SHIPPED_LINES)
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/shipped.txt CONTENT "${lines}")
  oboro_refuse_unlisted(${CMAKE_SOURCE_DIR})
endfunction()

function(oboro_refuse_unlisted folder)
  get_property(shipped GLOBAL PROPERTY OBORO_SHIPPED)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    get_target_property(programs ${target} RUNTIME_OUTPUT_DIRECTORY)
    get_target_property(libraries ${target} LIBRARY_OUTPUT_DIRECTORY)
    if((type STREQUAL EXECUTABLE AND programs STREQUAL CMAKE_RUNTIME_OUTPUT_DIRECTORY)
       OR (type MATCHES "^(MODULE|SHARED)_LIBRARY$" AND libraries STREQUAL CMAKE_LIBRARY_OUTPUT_DIRECTORY))
      if(NOT target IN_LIST shipped)
        message(FATAL_ERROR "${target} (${folder}) would be built among what users get: make it an oboro_program or "
          "oboro_plugin, or give it another folder")
      endif()
    endif()
  endforeach()
  get_property(below DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(next ${below})
    oboro_refuse_unlisted(${next})
  endforeach()
endfunction()

# oboro_test(file.cpp [NAME name] [THREADS] [REMOTE_RAM] [DEPS libs...] [DEFINITIONS macros...] [NEEDS targets...]): a
# GoogleTest binary that stands beside its source; run by ctest. THREADS: it runs code of ours in several threads at once;
# only such ones are built with ThreadSanitizer. REMOTE_RAM: a second binary runs the same tests on fake guests of whose
# RAM nothing is mapped. NEEDS: programs that it starts.
function(oboro_test file)
  cmake_parse_arguments(A "THREADS;REMOTE_RAM" "NAME" "DEPS;DEFINITIONS;NEEDS" ${ARGN})
  if(OBORO_SANITIZE STREQUAL "thread" AND NOT A_THREADS)
    return()
  endif()
  get_filename_component(name ${file} NAME_WE)
  if(A_NAME)
    set(name ${A_NAME})
  endif()
  add_executable(${name} ${file})
  add_dependencies(unit-tests ${name})
  # The test itself gains nothing from being optimized, and compiles in half the time without.
  target_compile_options(${name} PRIVATE -O0)
  set_target_properties(${name} PROPERTIES OBORO_UNOPTIMIZED ON)
  target_compile_definitions(${name} PRIVATE ${A_DEFINITIONS})
  if(A_NEEDS)
    add_dependencies(${name} ${A_NEEDS})
  endif()
  target_link_libraries(${name} PRIVATE oboro_flags ${A_DEPS} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
  if(A_REMOTE_RAM)
    string(REGEX REPLACE "_test$" "_remote_ram_test" remote ${name})
    add_executable(${remote} $<TARGET_OBJECTS:${name}> ${CMAKE_SOURCE_DIR}/tests/support/engine/remote_ram.cpp)
    add_dependencies(unit-tests ${remote})
    target_link_libraries(${remote} PRIVATE oboro_flags ${A_DEPS} GTest::gtest GTest::gtest_main)
    set_target_properties(${remote} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${remote} COMMAND ${remote})
    set_tests_properties(${remote} PROPERTIES TIMEOUT 600)
  endif()
endfunction()

# oboro_fuzz(file.cpp [DEPS libs...]): a libFuzzer target; only with OBORO_FUZZ.
function(oboro_fuzz file)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  get_filename_component(name ${file} NAME_WE)
  add_executable(${name} ${file})
  target_link_libraries(${name} PRIVATE oboro_flags ${A_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
