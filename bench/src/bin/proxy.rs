//! Measures the proxy against OpenSSH doing the same, on loopback, and prints a table.

fn main() -> anyhow::Result<()> {
    let table = catalyst_bench::table::Table::default();
    println!("{table}");
    Ok(())
}
