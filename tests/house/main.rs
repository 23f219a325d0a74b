//! The project's own files: the shape of the source, and what is said about it.

mod advisories;
mod layering;
