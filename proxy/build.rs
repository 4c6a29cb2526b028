//! Makes sure that there is a web app to embed: without a built one, a page that says how to build it.

use std::path::Path;
use std::{env, fs, io};

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Catalyst</title>
<h1>The web app is not in this build</h1>
<p>The server works, but it was compiled without the web app. Build the app, then the server once more:</p>
<p><code>npm --prefix web ci &amp;&amp; npm --prefix web run build &amp;&amp; cargo build -p catalyst-proxy</code></p>
</html>
"#;

fn main() -> io::Result<()> {
    let dist = Path::new("../web/dist");
    println!("cargo:rerun-if-changed=../web/dist");
    let page = dist.join("index.html");
    if !page.exists() {
        fs::create_dir_all(dist)?;
        fs::write(&page, PAGE)?;
    }
    link_small();
    if fs::read_to_string(&page)? == PAGE {
        println!(
            "cargo:warning=web/dist is not built: the proxy embeds a page that says so (npm --prefix web run build)"
        );
    }
    Ok(())
}

/// The table of what a static binary that may lie anywhere has to adjust when it starts is all read then, and stays in
/// memory: packed it is a hundredth as large. A dynamic binary's loader may be too old for it.
fn link_small() {
    if env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|features| features.split(',').any(|one| one == "crt-static")) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
