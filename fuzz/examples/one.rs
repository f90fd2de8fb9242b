//! temp
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t = oxbond_fuzz::targets()
        .into_iter()
        .find(|t| t.name == a[1])
        .unwrap();
    t.run(&std::fs::read(&a[2]).unwrap());
}
