# Included by CMake when llama.cpp is configured (`CMAKE_PROJECT_INCLUDE` in .cargo/config.toml): leaves out what the
# binary never calls. llama.cpp's `common` library (chat templates, argument parsing, an HTTP client) and the HTTP library
# that it needs are 52 of 128 files. The bindings still ask the linker for it, so it stays as an empty library.
if(NOT PROJECT_NAME STREQUAL "llama.cpp")
  return()
endif()

function(ko_sentiment_empty_unused_libraries)
  set(empty "${CMAKE_BINARY_DIR}/empty.cpp")
  file(WRITE "${empty}" "// Nothing of this library is used.\n")
  foreach(library llama-common cpp-httplib)
    if(TARGET ${library})
      set_property(TARGET ${library} PROPERTY SOURCES "${empty}")
    endif()
  endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL ko_sentiment_empty_unused_libraries)
