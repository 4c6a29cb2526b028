//! Images of one static program, written as the archive that `docker save` writes: no builder and no base image are needed.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};

const BLOCK: usize = 512;

/// Writes the archive of an image `reference` that runs `program` as `/NAME`, with nothing else in its file system, and with
/// `arguments` where a pod gives none.
pub(crate) fn archive(program: &Path, arguments: &[&str], reference: &str, to: &Path) -> anyhow::Result<()> {
    let name = program.file_name().and_then(|name| name.to_str()).context("a program with a name")?;
    let content = std::fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let mut layer = Vec::with_capacity(content.len() + 4 * BLOCK);
    entry(&mut layer, name, 0o755, &content)?;
    layer.resize(layer.len() + 2 * BLOCK, 0);

    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::to_vec(&serde_json::json!({
        "architecture": architecture, "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": [format!("/{name}")], "Cmd": arguments},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
    }))?;
    let config_name = format!("{}.json", sha256(&config));
    let manifest = serde_json::to_vec(&serde_json::json!([
        {"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}
    ]))?;

    let mut file =
        std::io::BufWriter::new(std::fs::File::create(to).with_context(|| format!("write {}", to.display()))?);
    for (name, bytes) in [("manifest.json", &manifest), (config_name.as_str(), &config), ("layer.tar", &layer)] {
        entry(&mut file, name, 0o644, bytes)?;
    }
    file.write_all(&[0; 2 * BLOCK])?;
    file.flush().with_context(|| format!("write {}", to.display()))
}

/// One file in the ustar format, owned by root.
fn entry(to: &mut impl Write, name: &str, mode: u32, content: &[u8]) -> anyhow::Result<()> {
    let mut header = Vec::with_capacity(BLOCK);
    field(&mut header, 100, name);
    for number in [u64::from(mode), 0, 0] {
        field(&mut header, 8, &format!("{number:07o}"));
    }
    field(&mut header, 12, &format!("{:011o}", content.len()));
    field(&mut header, 12, &format!("{:011o}", 0));
    let (before, after) = (header.clone(), {
        let mut rest = vec![b'0'];
        field(&mut rest, 100, "");
        rest.extend_from_slice(b"ustar\x0000");
        rest.resize(BLOCK - header.len() - 8, 0);
        rest
    });
    // The checksum counts its own field as eight spaces.
    let sum: u32 = before.iter().chain(&after).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    header.extend_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(&after);
    to.write_all(&header)?;
    to.write_all(content)?;
    to.write_all(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()])?;
    Ok(())
}

fn field(header: &mut Vec<u8>, width: usize, text: &str) {
    let end = header.len() + width;
    header.extend_from_slice(text.as_bytes());
    header.resize(end, 0);
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_the_archive_and_its_layer() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tool");
        std::fs::write(&program, vec![7; 1000]).unwrap();
        let image = folder.path().join("image.tar");
        archive(&program, &[], "example/tool:1", &image).unwrap();
        let tar = |arguments: &[&str]| {
            let output = std::process::Command::new("tar").args(arguments).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(tar(&["xvf", "image.tar"]).ends_with("layer.tar\n"));
        let listed = tar(&["tvf", "layer.tar"]);
        assert!(
            listed.starts_with("-rwxr-xr-x 0/0") && listed.contains("1000") && listed.ends_with("tool\n"),
            "{listed}"
        );
        let manifest = std::fs::read_to_string(folder.path().join("manifest.json")).unwrap();
        assert!(manifest.contains("example/tool:1"));
    }
}
