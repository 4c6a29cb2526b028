//! Makes sure that there is a web app to embed: without a built one, a page that says how to build it.

use std::path::Path;
use std::{fs, io};

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
    if fs::read_to_string(&page)? == PAGE {
        println!(
            "cargo:warning=web/dist is not built: the proxy embeds a page that says so (npm --prefix web run build)"
        );
    }
    Ok(())
}
