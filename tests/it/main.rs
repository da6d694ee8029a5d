//! The real daemon against the emulated Drive: real sockets, real files, real signals.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod account;
mod address;
mod adoption;
mod again;
mod answers;
mod audit;
mod calls;
mod channels;
mod commands;
mod connections;
mod consent;
mod contents;
mod crash;
mod credentials;
mod deliveries;
mod demo;
mod disk;
mod doctor;
mod door;
mod folders;
// Only a debug build can be killed at a point.
#[cfg(debug_assertions)]
mod hands;
mod heal;
mod lies;
mod limits;
mod login;
mod looks;
mod luck;
mod model;
mod names;
mod noise;
mod places;
mod plans;
// Only a debug build can be killed at a point.
#[cfg(debug_assertions)]
mod points;
mod ranges;
mod reading;
mod refusals;
mod service;
mod shortcuts;
mod siege;
mod tidy;
mod world;
