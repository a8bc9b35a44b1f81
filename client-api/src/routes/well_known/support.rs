//! GET /.well-known/matrix/support

use ruma::{
    UserId,
    api::client::discovery::discover_support::{Contact, Response},
};

use crate::{
    answer::{Answer, answer},
    call::Call,
    error::Error,
    settings,
};

pub(crate) async fn get(call: Call) -> Answer {
    let Some(support) = &call.door.settings.support else {
        return Err(Error::not_found("This server does not announce whom to turn to"));
    };
    let contacts = support.contacts.iter().filter_map(contact).collect();
    let mut response = Response::with_contacts(contacts);
    response.support_page = support.support_page.clone();
    answer(response)
}

/// `None` for a contact without a way to contact them.
fn contact(contact: &settings::Contact) -> Option<Contact> {
    let matrix_id = contact.matrix_id.as_deref().and_then(|id| UserId::parse(id).ok());
    let role = contact.role.as_str().into();
    let mut announced = match (&matrix_id, &contact.email_address) {
        (Some(id), _) => Contact::with_matrix_id(role, id.clone()),
        (None, Some(address)) => Contact::with_email_address(role, address.clone()),
        (None, None) => return None,
    };
    announced.email_address = contact.email_address.clone();
    Some(announced)
}
