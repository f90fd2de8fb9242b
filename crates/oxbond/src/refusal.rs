//! Errors of the parts as failures of a command: whose move it is, and what the driver would answer.

use oxbond_core::bond::InputError;
use oxbond_linux::engine::EngineError;
use oxbond_linux::error::KernelError;
use oxbond_linux::inspect::PortRefusal;

use crate::exit::{Blame, Failure};

pub(crate) fn configuration(e: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Configuration, e)
}

/// A refusal of the core, with the driver's answer where there is one.
pub(crate) fn refused_by_core(e: impl Into<InputError>) -> Failure {
    let e = e.into();
    let driver = match &e {
        InputError::Config(config) => config.driver(),
        InputError::LastToDrain { .. } => return refused(e),
        _ => None,
    };
    configuration(&e).with_driver(driver)
}

/// A refusal of an interface as a port, with the driver's answer where there is one.
pub(crate) fn refused_as_port(e: PortRefusal) -> Failure {
    let driver = e.driver();
    refused(e).with_driver(driver.as_ref())
}

pub(crate) fn refused(e: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Refused, e)
}

pub(crate) fn kernel(e: KernelError) -> Failure {
    Failure::new(
        if e.is_permission() {
            Blame::Permission
        } else {
            Blame::Kernel
        },
        e,
    )
}

pub(crate) fn engine_failure(e: EngineError) -> Failure {
    Failure::new(
        if e.is_permission() {
            Blame::Permission
        } else {
            Blame::Kernel
        },
        e,
    )
}
