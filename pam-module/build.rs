//! Says how `pam_countersign.so` is linked. Reads nothing but Cargo's own variables.

fn main() {
    for argument in [
        // libpam unloads modules in pam_end(3); thread-local destructors of this one may run later.
        "-Wl,-z,nodelete",
        "-Wl,-z,relro",
        "-Wl,-z,now",
        "-Wl,-z,defs",
        "-Wl,-z,noexecstack",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
