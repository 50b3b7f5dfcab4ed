// Passkeys in plain forms: the only script of the portal. Every other page and every other way in works without it.
//
// A form with data-passkey="get" or "create" is shown where the browser has passkeys. When it is sent, the script asks
// the address in data-options for a challenge, lets the browser answer it, and sends the answer in the form's field
// `credential` like any other field: what comes back is an ordinary page.
"use strict";

const toBytes = (text) => {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
};

const toText = (buffer) => {
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
};

const withBytes = (known) => (known || []).map((one) => ({ ...one, id: toBytes(one.id) }));

const readCreation = (options) => ({
  ...options,
  challenge: toBytes(options.challenge),
  user: { ...options.user, id: toBytes(options.user.id) },
  excludeCredentials: withBytes(options.excludeCredentials),
});

const readRequest = (options) => ({
  ...options,
  challenge: toBytes(options.challenge),
  allowCredentials: withBytes(options.allowCredentials),
});

const writeAnswer = (credential) => {
  const given = credential.response;
  const response = { clientDataJSON: toText(given.clientDataJSON) };
  if (given.attestationObject) {
    response.attestationObject = toText(given.attestationObject);
    response.transports = given.getTransports ? given.getTransports() : [];
  } else {
    response.authenticatorData = toText(given.authenticatorData);
    response.signature = toText(given.signature);
    if (given.userHandle) response.userHandle = toText(given.userHandle);
  }
  return JSON.stringify({
    id: credential.id,
    rawId: toText(credential.rawId),
    type: credential.type,
    clientExtensionResults: {},
    response,
  });
};

const askOptions = async (form) => {
  const fields = new URLSearchParams(new FormData(form));
  fields.delete("credential");
  const answer = await fetch(form.dataset.options, { method: "POST", body: fields, redirect: "manual" });
  if (answer.type === "opaqueredirect") {
    location.reload(); // the proof has grown old meanwhile: the page says so and leads to a new one
    return null;
  }
  if (!answer.ok) throw new Error("refused");
  return answer.json();
};

const run = async (form) => {
  const options = await askOptions(form);
  if (!options) return;
  const credential =
    form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey: readCreation(options) })
      : await navigator.credentials.get({ publicKey: readRequest(options) });
  form.elements.namedItem("credential").value = writeAnswer(credential);
  form.submit();
};

const tell = (form, error) => {
  const place = form.querySelector("[data-problem]");
  place.textContent =
    error.name === "InvalidStateError"
      ? "这台设备已有通行密钥。 This device has a passkey already."
      : "没有完成，请再试一次。 That was not finished. Please try again.";
  place.hidden = false;
};

if (window.PublicKeyCredential) {
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      run(form)
        .catch((error) => tell(form, error))
        .finally(() => {
          button.disabled = false;
        });
    });
  }
  for (const note of document.querySelectorAll("[data-without-passkeys]")) note.hidden = true;
}
