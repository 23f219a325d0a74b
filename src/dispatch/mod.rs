mod feed;
mod requests;
pub(crate) mod routes;
