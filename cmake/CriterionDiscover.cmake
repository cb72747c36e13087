# Run after a test program is linked: asks it for its tests and writes one
# add_test a test. Fails when there is none, because Criterion itself exits 0.
# It draws the list as a tree, in ASCII where the locale has no UTF-8.
execute_process(COMMAND ${EXE} --list --color=never
                OUTPUT_VARIABLE listing ERROR_VARIABLE complaints RESULT_VARIABLE rc)
# GOMP_SPINCOUNT: waiting threads leave the core to other tests.
set(text "")
string(REPLACE ";" " " listing "${listing}")
string(REPLACE "\n" ";" lines "${listing}")
foreach(line IN LISTS lines)
  if(line MATCHES "^([A-Za-z0-9_]+): [0-9]+ tests?")
    set(suite ${CMAKE_MATCH_1})
  elseif(line MATCHES "(──|--) ([A-Za-z0-9_]+)")
    set(test ${CMAKE_MATCH_2})
    string(APPEND text
      "add_test([=[${PREFIX}.${suite}.${test}]=] [=[${EXE}]=] --filter=${suite}/${test} --color=never -j1)\n"
      "set_tests_properties([=[${PREFIX}.${suite}.${test}]=] PROPERTIES TIMEOUT ${TIMEOUT}\n"
      "  SKIP_REGULAR_EXPRESSION [=[Tested: 0 ]=]\n"
      "  ENVIRONMENT GOMP_SPINCOUNT=1000)\n")
  endif()
endforeach()
if(text STREQUAL "")
  message(FATAL_ERROR "no tests found in ${EXE} (exit ${rc}): ${listing}${complaints}")
endif()
file(WRITE ${OUT} "${text}")
