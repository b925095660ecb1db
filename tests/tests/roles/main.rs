//! The users that `deploy/credentials` makes: what each role may do, and what it may not, on real servers.

mod audit;
mod broker;
mod delete;
mod durable;
mod fleet;
mod queue;
mod rotation;
mod servers;
mod store;
mod switches;
mod tenants;
mod usage;
