// Runs even where modules cannot: opened by a double click, a browser lets the page read no file.
if (location.protocol === "file:") {
  addEventListener("DOMContentLoaded", () => {
    document.documentElement.dataset.state = "failed";
    document.getElementById("message").textContent =
      "A browser does not let a page read files beside it when it is opened by a double click. Serve the folder " +
      "instead: run “cellucid-dask view” or “python -m http.server” in it, and open the address that it says. " +
      "On a web server or in a bucket, the folder works as it is.";
  });
}
