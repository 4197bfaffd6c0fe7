//! Policy versions: that one came into force, or was refused. Deliberately absent: the policies themselves, which are files.

use aegis_core::audit::Event;

use crate::Store;
use crate::error::StoreError;
use crate::records::Entry;

impl Store {
    /// Records that a policy version came into force (`loaded`) or was refused (`refused`).
    ///
    /// # Errors
    /// The database's.
    pub async fn record_policy(&self, version: &str, change: &str, detail: &str) -> Result<(), StoreError> {
        let (policy_version, change, detail) = (version.to_owned(), change.to_owned(), detail.to_owned());
        let entry = Entry::of(&Event::Policy { policy_version, change, detail })?;
        self.write(move |tx| tx.append(&entry).map(drop)).await
    }
}
