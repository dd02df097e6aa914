//! Completes an area that is too short.

/// The source of the missing state: a traced process, or a model of one.
pub trait Tracee {
    /// The host's error.
    type Error;

    /// Fills `area` with as much of the process's state as fits, and returns the number of bytes
    /// written.
    ///
    /// # Errors
    ///
    /// The host refuses the request.
    fn read(&self, area: &mut [u8]) -> Result<usize, Self::Error>;

    /// Sets the process's state to `area`.
    ///
    /// # Errors
    ///
    /// The host refuses the request, for example because the area is incomplete.
    fn write(&self, area: &[u8]) -> Result<(), Self::Error>;
}

/// Replaces the beginning of the tracee's state with `given` and leaves the rest as it is. Returns
/// the size of the whole state in bytes. `buffer` must have room for the whole state: otherwise the
/// host refuses, as it would without completion.
///
/// # Errors
///
/// The tracee's errors.
pub fn put<T: Tracee>(tracee: &T, given: &[u8], buffer: &mut [u8]) -> Result<usize, T::Error> {
    let size = tracee.read(buffer)?;
    let whole = buffer.get_mut(..size).unwrap_or_default();
    match whole.get_mut(..given.len()) {
        Some(beginning) => {
            beginning.copy_from_slice(given);
            tracee.write(whole)?;
        }
        // The host's area is smaller than the kernel's buffer. The host ignores the rest.
        None => tracee.write(given)?,
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::RefCell;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// The size of the buffer in the guest's kernel, in bytes.
    const ROOM: usize = 2_696;

    #[derive(Debug, PartialEq, Eq)]
    struct Fault;

    /// A process on a host with an area of that size, which behaves like `xstateregs_get` and
    /// `xstateregs_set`: a read returns as much as fits, a longer write is cut to the size, and a
    /// shorter one is refused.
    struct Model(RefCell<Vec<u8>>);

    impl Model {
        fn new(size: usize) -> Self {
            Self(RefCell::new((0..size).map(|n| n.to_le_bytes()[0]).collect()))
        }
    }

    impl Tracee for Model {
        type Error = Fault;

        fn read(&self, area: &mut [u8]) -> Result<usize, Fault> {
            let state = self.0.borrow();
            let size = state.len().min(area.len());
            area[..size].copy_from_slice(&state[..size]);
            Ok(size)
        }

        fn write(&self, area: &[u8]) -> Result<(), Fault> {
            let mut state = self.0.borrow_mut();
            let size = state.len();
            state.copy_from_slice(area.get(..size).ok_or(Fault)?);
            Ok(())
        }
    }

    #[test]
    fn a_larger_host_gets_the_kernels_bytes_and_keeps_its_own_after_them() {
        let host = Model::new(11_008);
        let before = host.0.borrow().clone();
        let given = vec![0xa5; ROOM];
        assert_eq!(host.write(&given), Err(Fault), "without completion");
        assert_eq!(put(&host, &given, &mut vec![0; 65_536]), Ok(11_008));
        let after = host.0.borrow();
        assert_eq!(after[..ROOM], given[..]);
        assert_eq!(after[ROOM..], before[ROOM..]);
    }

    #[test]
    fn a_host_that_is_not_larger_gets_what_the_kernel_gave() {
        for size in [576, 832, 2_440, ROOM] {
            let host = Model::new(size);
            let given = vec![0xa5; ROOM];
            assert_eq!(put(&host, &given, &mut vec![0; 65_536]), Ok(size));
            assert_eq!(host.0.borrow()[..], given[..size]);
        }
    }

    #[test]
    fn a_host_with_more_than_the_buffer_holds_refuses_as_before() {
        let host = Model::new(11_008);
        let before = host.0.borrow().clone();
        assert_eq!(put(&host, &[0; ROOM], &mut vec![0; 8_192]), Err(Fault));
        assert_eq!(put(&host, &[0; ROOM], &mut []), Err(Fault));
        assert_eq!(*host.0.borrow(), before);
    }
}
