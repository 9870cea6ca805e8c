# What makes an error of ours harder to use, and a build the same wherever it is made: chosen here, for everything, by what
# the compiler has. tests/shipped/hardening looks for it in the built files. Decision 027.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)

# oboro_harden(target): for all who link the interface library `target`.
function(oboro_harden target)
  target_compile_options(${target} INTERFACE -fstack-protector-strong)
  # The C++ library's own checks: where things are tested. In a release they cost the handlers of calls up to a tenth.
  target_compile_definitions(${target} INTERFACE $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
  if(OBORO_SANITIZE OR OBORO_FUZZ)
    return()  # A sanitizer's own functions take the place of the fortified ones, and it reports by full paths.
  endif()
  foreach(flag stack-clash-protection cf-protection=full)
    string(MAKE_C_IDENTIFIER "OBORO_HAS_${flag}" known)
    check_cxx_compiler_flag(-f${flag} ${known})
    if(${known})
      target_compile_options(${target} INTERFACE -f${flag})
    endif()
  endforeach()

  # 3 is checked with -Werror: the C library warns where it takes 3 for 2, and where nothing is optimized.
  set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
  check_cxx_source_compiles("#include <string.h>\nint main() { return 0; }" OBORO_HAS_FORTIFY_3)
  unset(CMAKE_REQUIRED_FLAGS)
  set(level 2)
  if(OBORO_HAS_FORTIFY_3)
    set(level 3)
  endif()
  set(optimized $<AND:$<NOT:$<CONFIG:Debug>>,$<NOT:$<BOOL:$<TARGET_PROPERTY:OBORO_UNOPTIMIZED>>>>)
  target_compile_options(${target} INTERFACE $<${optimized}:-U_FORTIFY_SOURCE> $<${optimized}:-D_FORTIFY_SOURCE=${level}>)

  target_link_options(${target} INTERFACE
    -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code -Wl,--build-id=sha1)

  # The folder that it is built in leaves no trace: in assertions, in debugging information, in the build ID that is made of
  # all that. Paths become what they are from the build folder, as ccache hands them to the compiler; the last one that fits
  # is taken. ccache does not look at what is mapped to what: a change here has to change the number of these options.
  file(RELATIVE_PATH up ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/)
  target_compile_options(${target} INTERFACE -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=${up} -ffile-prefix-map=${CMAKE_BINARY_DIR}=.
    -ffile-prefix-map=${CMAKE_BINARY_DIR}/=)
endfunction()
