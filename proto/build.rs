//! Compiles the `.proto` files in pure Rust (protox), so that no `protoc` has to be installed.

use std::{error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 2] =
    ["medisync/billing/v1/billing.proto", "patient/events/patient_event.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
