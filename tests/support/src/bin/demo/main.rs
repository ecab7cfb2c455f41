//! placeholder
fn main(){ for m in weir_api::manifest::manifests().unwrap() { for d in ["crds","charts/weir/files/crds"] { std::fs::write(format!("{d}/{}", m.file), &m.yaml).unwrap(); } } }
