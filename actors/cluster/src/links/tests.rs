mod world;

mod calls;
mod chaos;
mod raw;
mod streams;
mod views;
