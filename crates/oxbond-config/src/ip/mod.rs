//! iproute2's grammar: the words of its commands and of options of bonds, for the reader of scripts and for our own
//! `oxbond ip`. Nothing here touches the system.

pub mod options;
pub mod words;
