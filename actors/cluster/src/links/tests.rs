mod world;

mod calls;
mod streams;
