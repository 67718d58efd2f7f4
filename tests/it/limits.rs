//! Rate limits.

use fama_tests::server::Setup;

#[tokio::test]
async fn a_user_has_a_bucket() {
    let server = Setup::new().set("limits.user_per_minute", 5).start();
    let alice = server.user("alice");
    for left in (0..5).rev() {
        let answer = alice.get("/v1/feed").await.expect(200);
        assert_eq!(answer.header("x-ratelimit-limit"), "5");
        assert_eq!(answer.header("x-ratelimit-remaining"), left.to_string());
        assert!(answer.header("x-ratelimit-reset").parse::<u64>().is_ok());
    }
    let refused = alice.get("/v1/feed").await;
    assert!((1..=12).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    refused.refused(429, "rate_limited");
    let _ = server.user("bob").get("/v1/feed").await.expect(200);
    let _ = server.service().acting_for("alice").get("/v1/feed").await.expect(200);
}

#[tokio::test]
async fn an_address_has_a_bucket() {
    let server = Setup::new().set("limits.address_per_minute", 5).start();
    for n in 0..5 {
        let _ = server.user(&format!("u{n}")).get("/v1/feed").await.expect(200);
    }
    server.user("u9").get("/v1/feed").await.refused(429, "rate_limited");
    let forged = server.user("u10").header("x-forwarded-for", "10.1.2.3");
    forged.get("/v1/feed").await.refused(429, "rate_limited");
}
