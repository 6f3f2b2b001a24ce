//! The route, free.

use axum::routing::get;

#[path = "../../../serve.rs"]
mod serve;

#[tokio::main]
async fn main() {
    serve::serve(get(serve::weather)).await;
}
