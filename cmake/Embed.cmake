# Writes a C file that holds text files as strings, NUL-terminated:
#   cmake -DOUT=assets.c -DHEADER=header.h "-DFILES=file=name;..." -P Embed.cmake
set(text "/* Made by cmake/Embed.cmake. */\n#include \"${HEADER}\"\n")
foreach(pair IN LISTS FILES)
  string(REPLACE "=" ";" pair "${pair}")
  list(GET pair 0 file)
  list(GET pair 1 name)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND text "\nconst char ${name}[] = {\n${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
