# nas_test(name SOURCES test_a.c ... DEPENDS nas::base ...)
#
# Builds one Criterion program and adds each of its tests to ctest by name
# ("base.rng.known_answers"). A program in which no test is found fails the build.
function(nas_test name)
  if(NOT NAS_TESTS)
    return()
  endif()
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;DEPENDS;EXTERNAL" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 300)
  endif()
  add_executable(test_${name} ${T_SOURCES})
  nas_target_flags(test_${name})
  target_compile_options(test_${name} PRIVATE -UNDEBUG -Wno-missing-prototypes)
  target_compile_definitions(test_${name} PRIVATE
    NAS_SOURCE_DIR="${CMAKE_SOURCE_DIR}" NAS_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_link_libraries(test_${name} PRIVATE ${T_DEPENDS} ${T_EXTERNAL} PkgConfig::CRITERION)
  add_custom_command(TARGET test_${name} POST_BUILD
    COMMAND ${CMAKE_COMMAND} -DEXE=$<TARGET_FILE:test_${name}> -DPREFIX=${name} -DTIMEOUT=${T_TIMEOUT}
            -DOUT=${CMAKE_CURRENT_BINARY_DIR}/${name}_tests.cmake
            -P ${CMAKE_SOURCE_DIR}/cmake/CriterionDiscover.cmake
    VERBATIM)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}_tests.cmake)
endfunction()
