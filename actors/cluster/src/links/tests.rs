mod world;

mod calls;
mod raw;
mod streams;
mod views;
