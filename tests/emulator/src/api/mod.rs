//! Drive's API v3 as seen over HTTP: what comes in, what goes out, which errors.

pub(crate) mod about;
pub(crate) mod access;
pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod changes;
pub(crate) mod channels;
pub(crate) mod discovery;
pub(crate) mod drives;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod items;
pub(crate) mod mask;
pub(crate) mod media;
pub(crate) mod methods;
pub(crate) mod multipart;
pub(crate) mod order;
pub(crate) mod params;
pub(crate) mod permissions;
pub(crate) mod query;
pub(crate) mod resource;
pub(crate) mod route;
pub(crate) mod serve;
pub(crate) mod upload;
pub(crate) mod view;
pub(crate) mod write;
pub(crate) mod written;
