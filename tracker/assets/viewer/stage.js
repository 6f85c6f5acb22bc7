// The head, as it is drawn: close up, through the clip's own camera, or as the user's rig.
"use strict";
/** shown() gives the take that is drawn and the rig, if there is one. */
function makeStage(takes, shown, video) {
  const $ = (id) => document.getElementById(id), canvas = $("head"), plate = $("plate"), brush = plate.getContext("2d");
  const VIEWS = { near: "View: close-up", filmed: "View: as filmed", rig: "View: your rig" };
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
  const near = new THREE.PerspectiveCamera(20, 1, 0.01, 100);
  const lights = new Map();
  const orbits = { near: new THREE.OrbitControls(near, canvas), rig: null };
  const centre = new THREE.Vector3();
  const lenses = new Map(takes.map(({ camera }) => [camera, { angle: camera.fov, aspect: camera.aspect }]));
  let view = "near", plated = false;

  function lightOf(scene) {
    if (!lights.has(scene)) {
      const light = new THREE.DirectionalLight(0xffffff, 2.6);
      scene.add(new THREE.HemisphereLight(0xffffff, 0x6a707c, 2.2), light, light.target);
      lights.set(scene, light);
    }
    return lights.get(scene);
  }

  function render() {
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    const { take, rig } = shown();
    const scene = view === "rig" ? rig.scene : take.scene;
    const camera = { near, filmed: take.camera, rig: rig?.camera }[view];
    const light = lightOf(scene), target = view === "rig" ? rig.centre : centre;
    renderer.setPixelRatio(devicePixelRatio);
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    if (view === "filmed") { // all of the clip's frame stays in view
      const { angle, aspect } = lenses.get(camera);
      const grow = Math.max(1, aspect / camera.aspect);
      camera.fov = 2 * Math.atan(Math.tan(angle * Math.PI / 360) * grow) * 180 / Math.PI;
    }
    camera.updateProjectionMatrix();
    const reach = camera.position.distanceTo(target);
    light.position.copy(camera.position)
      .add(new THREE.Vector3(0.25, 0.4, 0.2).multiplyScalar(view === "filmed" ? 1 : reach).applyQuaternion(camera.quaternion));
    light.target.position.copy(target);
    renderer.render(scene, camera);
    drawPlate(width, height);
  }

  /** The clip's frame behind the head, as the camera sees both. */
  function drawPlate(width, height) {
    const drawn = plated && view === "filmed" && video.videoWidth > 0;
    plate.hidden = !drawn;
    canvas.classList.toggle("over", drawn);
    if (!drawn) return;
    plate.width = width * devicePixelRatio;
    plate.height = height * devicePixelRatio;
    const scale = Math.min(plate.width / video.videoWidth, plate.height / video.videoHeight);
    const [w, h] = [video.videoWidth * scale, video.videoHeight * scale];
    brush.drawImage(video, (plate.width - w) / 2, (plate.height - h) / 2, w, h);
  }

  /** The close-up camera goes where the head goes. */
  function follow() {
    const position = shown().take.head.getWorldPosition(new THREE.Vector3());
    near.position.add(position.clone().sub(centre));
    centre.copy(position);
    orbits.near.target.copy(centre);
    near.lookAt(centre);
  }

  function look(at) {
    const { rig } = shown();
    view = at;
    if (view === "rig") {
      orbits.rig?.dispose();
      orbits.rig = new THREE.OrbitControls(rig.camera, canvas);
      orbits.rig.target.copy(rig.centre);
      orbits.rig.enablePan = false;
      orbits.rig.update();
      orbits.rig.addEventListener("change", render);
    }
    for (const [name, orbit] of Object.entries(orbits)) if (orbit) orbit.enabled = name === view;
    canvas.classList.toggle("fixed", view === "filmed");
    $("view").textContent = VIEWS[view];
    $("plate-on").setAttribute("aria-pressed", String(plated && view === "filmed"));
    render();
  }

  shown().take.head.getWorldPosition(centre);
  near.position.copy(centre).addScaledVector(centre.clone().normalize(), -0.85); // along the clip's line of sight
  orbits.near.enablePan = false;
  orbits.near.target.copy(centre);
  orbits.near.update();
  orbits.near.addEventListener("change", render);
  $("view").onclick = () => {
    const views = shown().rig ? ["near", "filmed", "rig"] : ["near", "filmed"];
    look(views[(views.indexOf(view) + 1) % views.length]);
  };
  $("plate-on").onclick = () => {
    plated = view !== "filmed" || !plated;
    look("filmed");
  };
  return { render, follow, look, view: () => view };
}
