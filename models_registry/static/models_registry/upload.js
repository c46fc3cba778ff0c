// Uploads an artifact through the registry's API, shows the progress, and opens the version's page, which shows the
// validation.
"use strict";

(() => {
  const find = (id) => document.getElementById(id);
  const form = find("upload"), artifact = find("upload-artifact"), name = find("upload-name"), sample = find("upload-sample"), reference = find("upload-reference");
  const nextSteps = JSON.parse(form.dataset.nextSteps);
  const endings = form.dataset.endings.split(","), tables = form.dataset.tables.split(",");

  // Unfold listens to each file field, and expects a text field next to it.
  for (const field of [artifact, sample, reference]) field.hasChangeListener = true;

  const tell = (field, sentence) => {
    const place = find(`${field.id}-problem`);
    place.textContent = sentence;
    place.hidden = !sentence;
    field.setAttribute("aria-invalid", String(Boolean(sentence)));
    return !sentence;
  };

  const endingOf = (file) => (file.name.includes(".") ? file.name.slice(file.name.lastIndexOf(".")).toLowerCase() : "");

  // The end of a sentence that starts with the file's name.
  const ends = (file) => (endingOf(file) ? `ends in ${endingOf(file)}` : "has no file extension");

  const checkArtifact = () => {
    const file = artifact.files[0];
    if (!file) return tell(artifact, "Choose the file of a fitted model.");
    if (!endings.includes(endingOf(file))) {
      return tell(artifact, `${file.name} ${ends(file)}; expected ${endings.join(", ")}. ${nextSteps[endingOf(file)] || nextSteps[""]}`);
    }
    if (file.size === 0) return tell(artifact, `${file.name} is empty. Save the model again.`);
    if (file.size > form.dataset.maxMb * 1e6) return tell(artifact, `${file.name} has ${Math.ceil(file.size / 1e6)} MB; at most ${form.dataset.maxMb} MB are accepted. Upload a smaller model, or ask the operator to raise MODELS_MAX_ARTIFACT_MB.`);
    return tell(artifact, "");
  };

  const checkName = () => {
    if (name.validity.valueMissing) return tell(name, "Give the model a name, e.g. churn.");
    if (new RegExp(name.dataset.pattern).test(name.value)) return tell(name, "");
    const near = name.value.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-._]+|[-._]+$/g, "").slice(0, 100) || "my-model";
    return tell(name, `${name.value} is not a valid model name; expected letters, digits, dots, dashes and underscores. Try ${near}.`);
  };

  const checkSample = () => {
    const file = sample.files[0];
    if (file && ![".csv", ".json"].includes(endingOf(file))) return tell(sample, `${file.name} ${ends(file)}; expected .csv or .json. Save some rows as CSV with a header.`);
    if (file && file.size > 500000) return tell(sample, `${file.name} has ${Math.ceil(file.size / 1000)} kB; at most 500 kB are accepted. Some dozens of rows are enough.`);
    return tell(sample, "");
  };

  const checkReference = () => {
    const file = reference.files[0];
    if (file && !tables.includes(endingOf(file))) return tell(reference, `${file.name} ${ends(file)}; expected ${tables.join(", ")}. Save rows of the training data with frame.to_csv("reference.csv", index=False).`);
    if (file && file.size === 0) return tell(reference, `${file.name} is empty. Save the rows again.`);
    if (file && file.size > form.dataset.maxTableMb * 1e6) return tell(reference, `${file.name} has ${Math.ceil(file.size / 1e6)} MB; at most ${form.dataset.maxTableMb} MB are accepted. Upload some thousand random rows of the training data.`);
    return tell(reference, "");
  };

  const busy = (is) => {
    find("upload-progress").hidden = !is;
    for (const field of form.elements) field.disabled = is;
  };

  const fail = (sentence) => {
    busy(false);
    find("upload-problem").textContent = sentence;
    find("upload-problem").hidden = false;
    find("upload-problem").scrollIntoView({ block: "nearest" });
  };

  const send = (content, token) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.dataset.address.replace(form.dataset.placeholder, encodeURIComponent(name.value)));
    request.setRequestHeader("X-CSRFToken", token);
    request.upload.addEventListener("progress", (event) => {
      const percent = Math.floor((100 * event.loaded) / event.total);
      find("upload-bar").value = percent;
      find("upload-status").textContent = percent < 100 ? `Uploading: ${percent} %` : "The service stores the model.";
    });
    request.addEventListener("error", () => fail("The upload was interrupted, or the service is unavailable. Try again."));
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // A proxy's error page: only its status is useful.
      }
      if (request.status === 201) location.assign(answer.page);
      else fail(answer.error || `The upload was refused with status ${request.status}, probably by a proxy. Ask the operator.`);
    });
    request.send(content);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    find("upload-problem").hidden = true;
    const wrong = [[artifact, checkArtifact()], [name, checkName()], [sample, checkSample()], [reference, checkReference()]].find(([, isRight]) => !isRight);
    if (wrong) {
      wrong[0].focus();
      return;
    }
    const content = new FormData();
    // Before the file: the service refuses an invalid field before gigabytes are sent.
    if (sample.files[0]) content.append("sample", await sample.files[0].text());
    if (find("upload-description").value) content.append("description", find("upload-description").value);
    if (reference.files[0]) content.append("reference", reference.files[0]);
    content.append("artifact", artifact.files[0]);
    const token = form.elements.csrfmiddlewaretoken.value;
    busy(true);
    send(content, token);
  });

  const takeArtifact = () => {
    if (checkArtifact() && !name.value) {
      // A name like model.joblib is too general for a model's name.
      const stem = artifact.files[0].name.slice(0, -endingOf(artifact.files[0]).length).replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-._]+/, "");
      if (stem !== "model") name.value = stem.slice(0, 100);
    }
  };
  artifact.addEventListener("change", takeArtifact);
  name.addEventListener("change", checkName);
  sample.addEventListener("change", checkSample);
  reference.addEventListener("change", checkReference);
  // A file may already be selected: before this script ran, or kept by the browser when the user returns.
  if (artifact.files.length) takeArtifact();
})();
