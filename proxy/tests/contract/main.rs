//! The existing client's calls against the real router, a real sshd and a scripted `claude`: shapes, cookies, order of
//! messages, and what bad input and a VM in trouble look like from outside.

mod binary;
mod faults;
mod ideas;
mod runs;
mod serving;
mod sign_in;
mod socket;
mod stopping;
mod web;
