//! Where the binary looks for llama.cpp's libraries, if it is built with those.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_DYNAMIC_BACKENDS").is_some() {
        // llama.cpp's libraries lie beside the binary, wherever that is.
        let mac = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos");
        let here = if mac { "@executable_path" } else { "$ORIGIN" };
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{here}");
    }
}
