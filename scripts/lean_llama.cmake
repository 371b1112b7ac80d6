# Included by CMake when llama.cpp is configured (`CMAKE_PROJECT_INCLUDE` in .cargo/config.toml): spends the compiler's time
# where it is felt. What the binary never calls is left out. What runs once per model is compiled in one unit, whose headers
# are read once, at -O0; what lays out graphs, in a few units at -O1. Kernels, tokeniser, batches, caches and the decoder keep
# -O3 and files of their own.
if(NOT PROJECT_NAME STREQUAL "llama.cpp")
  return()
endif()

# llama.cpp's `common` library (chat templates, argument parsing, an HTTP client) and the HTTP library that it needs are 52
# of 128 files. The bindings still ask the linker for it, so it stays as an empty library.
function(ko_sentiment_empty_unused_libraries)
  set(empty "${CMAKE_BINARY_DIR}/empty.cpp")
  file(WRITE "${empty}" "// Nothing of this library is used.\n")
  foreach(library llama-common cpp-httplib)
    if(TARGET ${library})
      set_property(TARGET ${library} PROPERTY SOURCES "${empty}")
    endif()
  endforeach()
endfunction()

# Loading, saving, quantising, sampling, grammars, the memories of architectures with states, and the regular expressions of
# tokenisers that Gemma does not have.
set(KO_SENTIMENT_COLD
    llama llama-adapter llama-arch llama-chat llama-cparams llama-grammar llama-hparams llama-impl llama-io
    llama-kv-cache-dsa llama-kv-cache-dsa-iswa llama-kv-cache-dsv4 llama-kv-cache-msa
    llama-memory llama-memory-hybrid llama-memory-hybrid-idx llama-memory-hybrid-iswa llama-memory-recurrent
    llama-mmap llama-model llama-model-loader llama-model-saver llama-quant llama-sampler unicode)

# Replaces FILES of the target `llama` by units NAME_0.cpp, NAME_1.cpp, … of at most SIZE files, compiled at LEVEL.
function(ko_sentiment_unite name level size)
  set(number 0)
  while(ARGN)
    list(SUBLIST ARGN 0 ${size} batch)
    list(REMOVE_ITEM ARGN ${batch})
    set(unit "${CMAKE_BINARY_DIR}/${name}_${number}.cpp")
    list(TRANSFORM batch REPLACE "(.+)" "#include \"\\1\"" OUTPUT_VARIABLE text)
    list(JOIN text "\n" text)
    file(GENERATE OUTPUT "${unit}" CONTENT "${text}\n")
    target_sources(llama PRIVATE "${unit}")
    set_property(SOURCE "${unit}" TARGET_DIRECTORY llama PROPERTY COMPILE_OPTIONS ${level})
    math(EXPR number "${number} + 1")
  endwhile()
endfunction()

function(ko_sentiment_unite_cold_files)
  get_target_property(folder llama SOURCE_DIR)
  get_target_property(sources llama SOURCES)
  set(hot)
  set(cold)
  set(models)
  foreach(source IN LISTS sources)
    get_filename_component(path "${source}" ABSOLUTE BASE_DIR "${folder}")
    get_filename_component(name "${source}" NAME_WE)
    if(path MATCHES "/models/[^/]*[.]cpp$")
      list(APPEND models "${path}")
    elseif(path MATCHES "[.]cpp$" AND name IN_LIST KO_SENTIMENT_COLD)
      list(APPEND cold "${path}")
    else()
      list(APPEND hot "${source}")
    endif()
  endforeach()
  set_target_properties(llama PROPERTIES SOURCES "${hot}" UNITY_BUILD OFF)
  ko_sentiment_unite(cold -O0 30 ${cold})
  ko_sentiment_unite(models -O1 40 ${models})
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL ko_sentiment_empty_unused_libraries)
if(NOT MSVC)
  cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL ko_sentiment_unite_cold_files)
endif()
