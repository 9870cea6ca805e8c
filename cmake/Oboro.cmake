# Compiler settings, and one helper per kind of target.
add_library(oboro_flags INTERFACE)
target_compile_options(oboro_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Wimplicit-fallthrough -fno-strict-aliasing -fstack-protector-strong -fvisibility=hidden)
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
