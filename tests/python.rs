//! A client in another language, which learns the contract from reflection.

use ko_sentiment::load::{LoadOptions, load};

use crate::support::{TestServer, model, root};

#[tokio::test(flavor = "multi_thread")]
async fn python_calls_every_method() {
    let packages = root().join(".python");
    assert!(
        packages.exists(),
        "grpcio is missing: run `make test`, which fetches it into {}",
        packages.display()
    );
    let classifier = load(&model(), LoadOptions::default()).unwrap();
    let server = TestServer::start(classifier.into()).await;
    let address = server.address.to_string();
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new("python3")
            .arg(root().join("tests/python/client.py"))
            .arg(address)
            .env("PYTHONPATH", packages)
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
