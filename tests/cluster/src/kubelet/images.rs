//! Which program an image holds. The kubelet pulls nothing: it knows the project's own images and the backends of the
//! official conformance suite, by the last part of the image's name.

use crate::assets::Assets;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The user that the project's images run as.
const NONROOT: i64 = 65_532;

/// The program of an image.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The file on this machine.
    pub(crate) program: PathBuf,
    /// The user it runs as when the pod names none.
    pub(crate) user: i64,
    /// Where the program stands a second time, under the name of the client that it is too.
    pub(crate) client: Option<&'static str>,
}

/// Finds an image's program. An unknown one reads like an image that cannot be pulled.
pub(crate) fn find(assets: &Assets, image: &str) -> Result<Image> {
    let name = image.split('@').next().unwrap_or(image).rsplit('/').next().unwrap_or(image);
    let name = name.split(':').next().unwrap_or(name);
    match name {
        "sluice" | "sluice-gateway" | "sluice-controller" | "sluice-sidecar" => {
            let program = binary(name)?;
            Ok(Image { program, user: NONROOT, client: None })
        }
        "echo-basic" => Ok(Image { program: assets.backend("echo-basic"), user: 0, client: None }),
        "echo-advanced" => Ok(Image { program: assets.backend("echo"), user: 0, client: Some("/client") }),
        // Of the machine, with a user of its own as in curlimages/curl.
        "curl" => Ok(Image { program: "/usr/bin/curl".into(), user: 100, client: None }),
        "coredns" => Ok(Image { program: assets.backend("dns"), user: 0, client: None }),
        _ => bail!("no program is known for the image {image}"),
    }
}

/// A binary that cargo put beside the test executables.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let path = test.ancestors().nth(2).context("a target folder")?.join(name);
    if !path.exists() {
        bail!("{} is missing; run `cargo build -p {name}` first (tests/run does)", path.display());
    }
    Ok(path)
}
