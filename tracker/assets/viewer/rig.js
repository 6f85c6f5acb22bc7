// A rig that the user drops in: whatever has morph targets with ARKit's names.
"use strict";
/** Reads rigs by the names of the curves; the result of read(file) has a scene, a camera and [mesh, target, name]. */
function makeRigReader(names) {
  const plain = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
  const spellings = names.flatMap((name) => {
    const sided = name.match(/^(.*)(Left|Right)$/);
    const ways = sided ? [name, sided[1] + sided[2][0], sided[2] + sided[1]] : [name];
    return ways.map((way) => [plain(way), name]);
  });

  /** The curve that a morph target is of, in any case, with _L for Left, after any prefix; undefined: of none. */
  function curveOf(target) {
    const word = plain(target.split(/[.:|]/).pop());
    const found = spellings.find(([way]) => way === word) ?? spellings.find(([way]) => way.length > 6 && word.endsWith(way));
    return found?.[1];
  }

  return async function read(file) {
    const { scene } = await new THREE.GLTFLoader().parseAsync(await file.arrayBuffer(), "");
    const targets = [], found = new Set();
    let box = null;
    scene.updateMatrixWorld(true);
    scene.traverse((mesh) => {
      if (!mesh.morphTargetDictionary) return;
      const own = Object.entries(mesh.morphTargetDictionary).map(([target, at]) => [mesh, at, curveOf(target)]).filter((t) => t[2]);
      if (!own.length) return;
      targets.push(...own);
      for (const [, , name] of own) found.add(name);
      mesh.geometry.computeBoundingBox();
      box ??= mesh.geometry.boundingBox.clone().makeEmpty();
      box.expandByObject(mesh, true); // by its vertices: the box of a geometry takes in all targets at once
    });
    if (!box) throw new Error("it has no morph targets with ARKit's names");
    const centre = box.getCenter(new THREE.Vector3());
    const radius = box.getSize(new THREE.Vector3()).length() / 2;
    const camera = new THREE.PerspectiveCamera(25, 1, radius / 100, radius * 100);
    camera.position.copy(centre).add(new THREE.Vector3(0, 0, radius * 4));
    return { scene, camera, centre, targets, found, name: file.name };
  };
}
