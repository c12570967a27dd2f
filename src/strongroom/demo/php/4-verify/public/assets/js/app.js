// Tells whether the certificate whose code was typed in is genuine.
document.querySelectorAll("form[data-verify]").forEach((form) => {
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const code = new FormData(form).get("code").trim().toLowerCase();
        const answer = await fetch(`/verify.php?code=${encodeURIComponent(code)}`);
        const certificate = await answer.json();
        form.querySelector("output").textContent = answer.ok
            ? `${certificate.number}: ${certificate.title}, ${certificate.status}`
            : "This code is not known.";
    });
});
