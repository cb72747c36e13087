# nas_module(name SOURCES a.c b.c DEPENDS nas::base ... EXTERNAL PkgConfig::X ...)
#
# One static library a folder. Headers are included by their path from the
# repository's root ("base/status.h"), so a line of #include shows the edge.
set(NAS_C_FLAGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wvla -Wno-unused-parameter -fno-math-errno -fno-trapping-math
    -fno-semantic-interposition)

function(nas_target_flags target)
  # Contraction is set here and nowhere else: bits must not depend on a default.
  target_compile_options(${target} PRIVATE ${NAS_C_FLAGS} -ffp-contract=off)
  if(NAS_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
endfunction()

function(nas_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPENDS;EXTERNAL" ${ARGN})
  add_library(nas_${name} STATIC ${M_SOURCES})
  add_library(nas::${name} ALIAS nas_${name})
  nas_target_flags(nas_${name})
  target_link_libraries(nas_${name} PUBLIC ${M_DEPENDS} OpenMP::OpenMP_C m PRIVATE ${M_EXTERNAL})
endfunction()
