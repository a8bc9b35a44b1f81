//! GET /_matrix/static/client/login/

use crate::{
    answer::Answer,
    call::Call,
    html::{Page, Policy},
};

const FORM: &str = "<p id=\"wrong\" class=\"wrong\" hidden></p>\
    <form id=\"login\"><label>User name<input name=\"user\" autocomplete=\"username\" required \
    autofocus></label><label>Password<input name=\"password\" type=\"password\" \
    autocomplete=\"current-password\" required></label><button>Log in</button></form>\
    <noscript><p>This page needs JavaScript.</p></noscript>";

/// Logs in with what the form says and what the page's address asks for, and hands over the answer.
const SCRIPT: &str = "
const form = document.getElementById('login'), wrong = document.getElementById('wrong');
const asked = new URLSearchParams(location.search), body = { type: 'm.login.password' };
for (const key of ['device_id', 'initial_device_display_name']) {
  if (asked.has(key)) body[key] = asked.get(key);
}
if (asked.has('refresh_token')) body.refresh_token = asked.get('refresh_token') === 'true';
function complain(text) { wrong.textContent = text; wrong.hidden = false; }
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  wrong.hidden = true;
  const fields = new FormData(form);
  body.identifier = { type: 'm.id.user', user: fields.get('user') };
  body.password = fields.get('password');
  try {
    const answer = await fetch('/_matrix/client/v3/login', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    const response = await answer.json();
    if (!answer.ok) return complain(response.error || 'That did not work.');
    form.hidden = true;
    if (window.matrixLogin && window.matrixLogin.onLogin) window.matrixLogin.onLogin(response);
    else complain('You are logged in, but the app that opened this page does not listen.');
  } catch (error) {
    complain('The server cannot be reached.');
  }
});
";

pub(crate) async fn get(_call: Call) -> Answer {
    let policy = Policy::ThisServer;
    let (title, body, script) = ("Log in", FORM.to_owned(), Some(SCRIPT));
    Page { title, body, script, policy, ..Page::default() }.into_answer()
}
